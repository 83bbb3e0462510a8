"""Contract runs: whether a server at a URL keeps a vendor's document, and behaves as the vendor does."""
