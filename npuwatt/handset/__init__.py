"""A phone or its like around a chip: heat to the skin, governors, batteries, always-on duty. It knows watts, not ops."""
