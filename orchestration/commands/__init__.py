"""One module a command of ``serval``: its arguments and its ``run`` function."""
