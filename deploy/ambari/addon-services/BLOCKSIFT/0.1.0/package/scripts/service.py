"""A component that is a package with a systemd unit of its own: agent.py and collector.py say which. For Python 2.7 and 3, since
Ambari runs either."""

from resource_management.core.exceptions import ComponentIsNotRunning
from resource_management.core.resources.packaging import Package
from resource_management.core.resources.system import Execute, File
from resource_management.core.shell import call
from resource_management.libraries.script.script import Script


class Service(Script):
    package = None  # Of the package, its program and its unit.
    user = None
    config = None  # Under /etc/blocksift.

    def install(self, env):
        Package(self.package)

    def configure(self, env):
        content = Script.get_config()["configurations"][self.package]["content"]
        path = "/etc/blocksift/" + self.config
        if content.strip():
            File(path, content=content.strip() + "\n", owner="root", group=self.user, mode=0o640)
        # Whoever set it wrong reads here what is wrong, rather than in a unit's journal.
        Execute(("runuser", "-u", self.user, "--", self.package, "validate", "--config", path), sudo=True)

    def start(self, env):
        self.configure(env)
        Execute(("systemctl", "enable", "--now", self.package), sudo=True)

    def stop(self, env):
        Execute(("systemctl", "disable", "--now", self.package), sudo=True)

    def restart(self, env):
        self.configure(env)
        Execute(("systemctl", "restart", self.package), sudo=True)

    def status(self, env):
        code, _ = call(("systemctl", "is-active", "--quiet", self.package))
        if code != 0:
            raise ComponentIsNotRunning()
