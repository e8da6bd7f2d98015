"""What runs inside a guest: the agent, its wire protocol, and the files of the two boots."""
