# The independent check: a model file by the rules of onnx itself, and its scores by onnxruntime instead of tract.
# Standard input: a JSON object with `model` (path), `windows` (lists of tokens) and `scores` (tract's).
# Standard output: a JSON object with the versions and the largest difference, also in a batch.
import json
import sys

import numpy
import onnx
import onnxruntime

given = json.load(sys.stdin)
model = onnx.load(given["model"])
onnx.checker.check_model(model, full_check=True)
names = [port.name for port in model.graph.input], [port.name for port in model.graph.output]
assert names == (["tokens"], ["score"]), names

session = onnxruntime.InferenceSession(given["model"], providers=["CPUExecutionProvider"])
windows = numpy.array(given["windows"], dtype=numpy.int64)
expected = numpy.array(given["scores"], dtype=numpy.float32)
alone = numpy.array([session.run(["score"], {"tokens": window[None, :]})[0].reshape(-1)[0] for window in windows])
batch = session.run(["score"], {"tokens": windows})[0].reshape(-1)
json.dump(
    {
        "onnx": onnx.__version__,
        "onnxruntime": onnxruntime.__version__,
        "windows": len(windows),
        "apart": float(numpy.abs(alone - expected).max()),
        "batch_apart": float(numpy.abs(batch - alone).max()),
        "mean_score": float(alone.mean()),
    },
    sys.stdout,
)
