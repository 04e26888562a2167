"""The benchmarks: what Purser costs beside nginx, and where its own time goes; each module runs by `python -m`."""
