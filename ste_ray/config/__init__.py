"""Configuration: one YAML file, ``section.key=value`` overrides, secrets from the environment."""

from ste_ray.config.loading import is_override, load_config
from ste_ray.config.root import Config

__all__ = ["Config", "is_override", "load_config"]
