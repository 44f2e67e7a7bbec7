"""An update as a Ray job: `ray job submit -- python jobs/update.py --run NEW --from OLD`."""

from ste_ray.cli.entry import run_job

if __name__ == "__main__":
    run_job("update")
