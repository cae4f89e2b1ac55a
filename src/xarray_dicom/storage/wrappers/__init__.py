"""Wrappers of clients, each of one job; every one of them is an `ObjectClient` itself."""
