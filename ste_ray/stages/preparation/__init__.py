"""The parts of the prepare stage, in the order in which data walks through them."""
