"""The engine room: planning, copying and verifying, by protocols alone."""
