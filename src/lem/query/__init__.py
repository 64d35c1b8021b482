"""Runs as tables: SQL over any number of them, and files for other tools."""

from lem.query.views import VIEWS, Column, View, listing

__all__ = ["VIEWS", "Column", "View", "listing"]
