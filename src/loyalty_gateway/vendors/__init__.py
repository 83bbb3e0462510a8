"""The vendors, one module each; a module that stands here is a vendor that is served."""
