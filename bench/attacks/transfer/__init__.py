"""A transfer attack composed of published parts."""
