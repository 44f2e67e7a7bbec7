"""The train stage as a Ray job: `ray job submit -- python jobs/train.py --run URI`."""

from ste_ray.cli.entry import run_job

if __name__ == "__main__":
    run_job("train")
