#!/usr/bin/env python3
"""Packs two packages of the real ones' layout and looks at what came of them; starts the roles as Cloudera's agent does.

BLOCKSIFT_AGENT names a real agent, whose `validate` then reads what control.sh writes. BLOCKSIFT_CM_VALIDATOR is the command
of Cloudera's own validator (cm_ext), which then reads everything. What is not named is skipped, and told.
"""

import hashlib
import json
import os
import shlex
import subprocess
import sys
import tarfile
import tempfile
import unittest
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
FILES = ("bin/{}", "lib/systemd/system/{}.service", "share/doc/{}/copyright", "share/bash-completion/completions/{}",
         "share/zsh/site-functions/_{}", "share/fish/vendor_completions.d/{}.fish")
# Says how it was called.
PROGRAM = '#!/bin/sh\necho "$(basename "$0") $*"\n'
ROLE = {
    "BLOCKSIFT_LOGS": "/var/log/hadoop-hdfs/*.out*, /srv/a \"b\"\\c/*.log",
    "BLOCKSIFT_ENDPOINT": "https://collector.example.org:4318",
    "BLOCKSIFT_CA": "/etc/blocksift/ca.pem",
    "BLOCKSIFT_TOKEN_FILE": "",
}


def package(folder, name, version):
    root = folder / f"{name}-root"
    for file in FILES:
        path = root / "usr" / file.format(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(PROGRAM)
        path.chmod(0o755 if file.startswith("bin") else 0o644)
    control = root / "DEBIAN/control"
    control.parent.mkdir()
    control.write_text(f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: a <a@b.invalid>\nDescription: a\n")
    deb = folder / f"{name}.deb"
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", root, deb], check=True, stdout=subprocess.DEVNULL)
    return deb


def pack(output, *debs):
    command = [sys.executable, HERE / "pack.py", "--distro", "el7", "--distro", "el9", "--output", output, *debs]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True)


class Pack(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.held = tempfile.TemporaryDirectory()
        cls.folder = Path(cls.held.name)
        cls.debs = [package(cls.folder, name, "1.2.3-1") for name in ("blocksift-agent", "blocksift-collector")]
        cls.output = cls.folder / "repository"
        told = pack(cls.output, *cls.debs)
        assert told.returncode == 0, told.stderr
        cls.unpacked = cls.folder / "unpacked"
        with tarfile.open(cls.output / "BLOCKSIFT-1.2.3-el9.parcel") as parcel:
            parcel.extractall(cls.unpacked)
        with zipfile.ZipFile(cls.output / "BLOCKSIFT-1.2.3.jar") as jar:
            jar.extractall(cls.unpacked)

    @classmethod
    def tearDownClass(cls):
        cls.held.cleanup()

    def test_parcel_is_what_its_name_says(self):
        root = self.unpacked / "BLOCKSIFT-1.2.3"
        files = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
        self.assertEqual(files, ["bin/blocksift-agent", "bin/blocksift-collector", "meta/blocksift_env.sh", "meta/parcel.json",
                                 "share/doc/blocksift-agent/copyright", "share/doc/blocksift-collector/copyright"])
        parcel = json.loads((root / "meta/parcel.json").read_text())
        self.assertEqual((parcel["name"], parcel["version"]), ("BLOCKSIFT", "1.2.3"))
        self.assertTrue((root / "meta" / parcel["scripts"]["defines"]).is_file())
        service = json.loads((self.unpacked / "descriptor/service.sdl").read_text())
        self.assertEqual(service["version"], "1.2.3")
        self.assertLessEqual(set(service["parcel"]["requiredTags"]), set(parcel["provides"]))
        self.assertIn(service["runAs"]["user"], parcel["users"])

    def test_every_variable_of_a_role_is_a_parameter_of_it(self):
        service = json.loads((self.unpacked / "descriptor/service.sdl").read_text())
        for role in service["roles"]:
            names = {"${" + parameter["name"] + "}" for parameter in role["parameters"]}
            self.assertEqual(set(role["startRunner"]["environmentVariables"].values()), names)
            self.assertTrue((self.unpacked / role["startRunner"]["program"]).is_file())

    def test_manifest_has_each_parcel_with_its_hash(self):
        manifest = json.loads((self.output / "manifest.json").read_text())
        hashes = {path.name: hashlib.sha1(path.read_bytes()).hexdigest() for path in self.output.glob("*.parcel")}
        self.assertEqual({parcel["parcelName"]: parcel["hash"] for parcel in manifest["parcels"]}, hashes)
        self.assertEqual(len(hashes), 2)

    def test_equal_packages_give_equal_bytes(self):
        again = self.folder / "again"
        self.assertEqual(pack(again, *self.debs).returncode, 0)
        for name in ("BLOCKSIFT-1.2.3-el7.parcel", "BLOCKSIFT-1.2.3.jar"):
            self.assertEqual((again / name).read_bytes(), (self.output / name).read_bytes(), name)

    def test_packages_of_two_versions_are_refused(self):
        (self.folder / "other").mkdir()
        other = package(self.folder / "other", "blocksift-collector", "1.2.4-1")
        told = pack(self.folder / "none", self.debs[0], other)
        self.assertNotEqual(told.returncode, 0)
        self.assertIn("several versions", told.stderr)

    def start(self, role, home, **more):
        """As Cloudera's agent: the parcel's script first, then the role's, in a folder of the process."""
        root = self.unpacked
        defined = f". {root}/BLOCKSIFT-1.2.3/meta/blocksift_env.sh; {home} exec bash {root}/scripts/control.sh {role}"
        held = {"PATH": os.environ["PATH"], "PARCELS_ROOT": str(root), "PARCEL_DIRNAME": "BLOCKSIFT-1.2.3", "CONF_DIR": str(self.folder)}
        return subprocess.run(["bash", "-c", defined], env=held | more, capture_output=True, text=True)

    def test_roles_start_what_they_are_called(self):
        told = self.start("agent", "", **ROLE, BLOCKSIFT_STATE="/var/lib/blocksift")
        configuration = f"--config {self.folder}/agent.toml"
        self.assertEqual(told.stdout.splitlines(), [f"blocksift-agent {how} {configuration}" for how in ("validate", "run")], told.stderr)
        told = self.start("collector", "", BLOCKSIFT_CONFIG="/etc/blocksift/collector.toml")
        self.assertEqual(told.stdout.splitlines()[1], "blocksift-collector --config /etc/blocksift/collector.toml", told.stderr)
        told = self.start("nobody", "")
        self.assertEqual(told.returncode, 2)
        self.assertIn("no role", told.stderr)
        told = self.start("agent", "unset BLOCKSIFT_HOME;")
        self.assertIn("not active", told.stderr)

    def test_what_somebody_typed_stays_a_string(self):
        self.start("agent", "", **ROLE, BLOCKSIFT_STATE="/var/lib/blocksift")
        text = (self.folder / "agent.toml").read_text()
        self.assertIn(r'paths = ["/var/log/hadoop-hdfs/*.out*", "/srv/a \"b\"\\c/*.log"]', text)
        self.assertNotIn("token_file", text)

    def test_agent_takes_what_control_writes(self):
        agent = os.environ.get("BLOCKSIFT_AGENT")
        if not agent:
            self.skipTest("BLOCKSIFT_AGENT names no agent")
        role = ROLE | {"BLOCKSIFT_CA": "", "BLOCKSIFT_STATE": str(self.folder / "state")}
        self.start("agent", "", **role)
        told = subprocess.run([agent, "validate", "--config", self.folder / "agent.toml"], capture_output=True, text=True)
        self.assertEqual(told.returncode, 0, told.stdout + told.stderr)

    def test_clouderas_validator_finds_no_fault(self):
        command = os.environ.get("BLOCKSIFT_CM_VALIDATOR")
        if not command:
            self.skipTest("BLOCKSIFT_CM_VALIDATOR names no validator")
        for how in (["-d", self.unpacked / "BLOCKSIFT-1.2.3"], ["-f", self.output / "BLOCKSIFT-1.2.3-el7.parcel"],
                    ["-m", self.output / "manifest.json"], ["-x", "-s", self.unpacked / "descriptor/service.sdl"]):
            told = subprocess.run([*shlex.split(command), *how], capture_output=True, text=True)
            self.assertIn("Validation succeeded", told.stdout, told.stderr)
            self.assertNotIn("==>", told.stdout + told.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
