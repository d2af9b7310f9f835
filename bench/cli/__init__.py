"""The command `bench`: from argv and configs to a Spec, to the engine, to output. Only this room prints."""
