"""Types and structure: what each dialect's types are, and how one becomes another."""
