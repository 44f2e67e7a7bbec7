"""The stages of the pipeline. Ray lives here, and only here and in the job scripts."""
