"""Tools of services that an OpenAPI document describes."""
