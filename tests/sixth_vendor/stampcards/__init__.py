"""An invented vendor, as someone would add one: this module and its spec, nothing else."""
