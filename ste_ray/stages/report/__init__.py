"""Joins the report and its viewer to the run store."""
