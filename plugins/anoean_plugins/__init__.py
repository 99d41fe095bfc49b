"""The plugins that come along, found by entry points like any other's."""
