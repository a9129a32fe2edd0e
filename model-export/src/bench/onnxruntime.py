# Scores windows one at a time with onnxruntime, one thread, and tells the fastest and the middle fifty in microseconds.
# Arguments: model file, rounds. Standard input: the windows as JSON.
import json
import sys
import time

import numpy
import onnxruntime

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
windows = [numpy.array([tokens], dtype=numpy.int64) for tokens in json.load(sys.stdin)]
# Bound to the session, so that Python's own share is small.
binding = session.io_binding()
binding.bind_output("score")
times = []
for number in range(int(sys.argv[2]) + 1):
    for first in range(0, len(windows), 50):
        part = windows[first : first + 50]
        start = time.perf_counter()
        for window in part:
            binding.bind_cpu_input("tokens", window)
            session.run_with_iobinding(binding)
        # The first round warms up.
        if number > 0:
            times.append((time.perf_counter() - start) * 1e6 / len(part))
times.sort()
print(json.dumps([onnxruntime.__version__, times[0], times[len(times) // 2]]))
