"""Clients of object stores, one file a service."""
