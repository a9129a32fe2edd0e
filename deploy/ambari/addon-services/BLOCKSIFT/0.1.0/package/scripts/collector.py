"""The collector, on one host."""

from service import Service


class Collector(Service):
    package = "blocksift-collector"
    user = "blocksift-collector"
    config = "collector.toml"


if __name__ == "__main__":
    Collector().execute()
