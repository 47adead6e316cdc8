"""The tests, laid out as the package is. Folders below are namespaces: pytest names their files from the root."""
