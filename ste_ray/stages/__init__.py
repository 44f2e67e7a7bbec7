"""The stages of the pipeline. Ray lives here and only here."""
