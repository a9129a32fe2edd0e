"""The agent, on each host with a DataNode or a NameNode."""

from service import Service


class Agent(Service):
    package = "blocksift-agent"
    user = "blocksift"
    config = "agent.toml"


if __name__ == "__main__":
    Agent().execute()
