"""Waits for the end of its standard input, then ends a local cluster; see ``cluster.local``."""

from __future__ import annotations

import sys

from ste_ray.stages.cluster.local import end_cluster


def main() -> None:
    """Read until the parent is gone, then kill what carries the cluster's id."""
    cluster_id, folder = sys.argv[1:3]
    sys.stdin.buffer.read()
    end_cluster(cluster_id, folder)


if __name__ == "__main__":
    main()
