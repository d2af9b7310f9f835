"""A transfer attack made of published parts."""
