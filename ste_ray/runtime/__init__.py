"""Joins the pure flows to their ports: drives them, records answers, replays them."""
