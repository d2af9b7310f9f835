"""The command `bench`: argv and configs to a Spec, to the engine, to what is printed. Only it prints."""
