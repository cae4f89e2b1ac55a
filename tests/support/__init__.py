"""Objects, servers and comparisons that tests share."""
