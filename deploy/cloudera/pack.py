#!/usr/bin/env python3
"""Makes of the .deb packages what Cloudera Manager takes: a parcel for each distribution with the repository's manifest.json,
and the CSD, a jar with the descriptor and the script of the service.

    pack.py --distro el8 --distro el9 --output repository blocksift-agent_0.1.0-1_amd64.deb blocksift-collector_0.1.0-1_amd64.deb

Takes dpkg-deb. Equal packages give equal bytes: times are SOURCE_DATE_EPOCH, else 1980.
"""

import argparse
import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
NAME = "BLOCKSIFT"
PROGRAMS = ("blocksift-agent", "blocksift-collector")
# The oldest time that a zip file can hold.
EPOCH = max(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), 315532800)
# What of the parcel's own description the repository's has too.
OF_PARCEL = ("depends", "replaces", "conflicts", "components")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    arguments.add_argument("deb", nargs=2, type=Path, help="the packages of agent and collector")
    arguments.add_argument("--distro", action="append", required=True, help="as Cloudera names it: el7, el8, el9, sles15, jammy")
    arguments.add_argument("--output", type=Path, required=True, help="folder, made if it is not there")
    arguments = arguments.parse_args()
    version = common_version(arguments.deb)
    arguments.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        root = parcel_tree(arguments.deb, version, folder)
        first = arguments.output / f"{NAME}-{version}-{arguments.distro[0]}.parcel"
        write_parcel(root, first)
        for distro in arguments.distro[1:]:
            (arguments.output / f"{NAME}-{version}-{distro}.parcel").write_bytes(first.read_bytes())
        description = json.loads((root / "meta/parcel.json").read_text())
    write_manifest(arguments.output, version, description)
    write_csd(version, arguments.output / f"{NAME}-{version}.jar")


def common_version(debs):
    """Of both packages, without the packages' own revision: in a parcel's name a dash ends the version."""
    told = {}
    for deb in debs:
        name, version = (field(deb, key) for key in ("Package", "Version"))
        told[name] = version.rsplit("-", 1)[0]
    if set(told) != set(PROGRAMS):
        sys.exit(f"pack.py: takes the packages {' and '.join(PROGRAMS)}, not {', '.join(sorted(told))}")
    if len(set(told.values())) != 1:
        sys.exit(f"pack.py: the packages are of several versions: {told}")
    return told[PROGRAMS[0]]


def field(deb, key):
    command = ["dpkg-deb", "--field", deb, key]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def parcel_tree(debs, version, folder):
    root = folder / f"{NAME}-{version}"
    for deb in debs:
        # /usr alone: what is in /etc and the units are not for a parcel.
        subprocess.run(["dpkg-deb", "--extract", deb, folder / "unpacked"], check=True)
    (folder / "unpacked/usr").rename(root)
    (root / "meta").mkdir()
    for source in sorted((HERE / "parcel/meta").iterdir()):
        (root / "meta" / source.name).write_text(filled(source, version))
    # Cloudera's agent starts the roles, and nobody's shell looks here.
    for name in ("lib", "share/bash-completion", "share/zsh", "share/fish"):
        shutil.rmtree(root / name)
    return root


def filled(source, version):
    return source.read_text().replace("@version@", version)


def write_parcel(root, path):
    # gzip's head holds a time and a name too.
    with open(path, "wb") as file, gzip.GzipFile("", "wb", mtime=EPOCH, fileobj=file) as packed:
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as archive:
            for member in [root, *sorted(root.rglob("*"))]:
                archive.add(member, member.relative_to(root.parent), recursive=False, filter=steady)


def steady(member):
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    member.mtime = EPOCH
    return member


def write_manifest(output, version, description):
    parcels = []
    for path in sorted(output.glob(f"{NAME}-{version}-*.parcel")):
        entry = {"parcelName": path.name, "hash": hashlib.sha1(path.read_bytes()).hexdigest()}
        parcels.append(entry | {key: description[key] for key in OF_PARCEL})
        path.with_name(f"{path.name}.sha").write_text(entry["hash"])
    manifest = {"lastUpdated": int(time.time() * 1000), "parcels": parcels}
    (output / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")


def write_csd(version, path):
    root = HERE / "csd"
    stamp = time.gmtime(EPOCH)[:6]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as jar:
        for member in sorted(root.rglob("*")):
            if member.is_file():
                entry = zipfile.ZipInfo(str(member.relative_to(root)), stamp)
                entry.external_attr = (0o100755 if member.suffix == ".sh" else 0o100644) << 16
                entry.compress_type = zipfile.ZIP_DEFLATED
                jar.writestr(entry, filled(member, version))


if __name__ == "__main__":
    main()
