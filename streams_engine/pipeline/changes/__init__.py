"""The log of a stream: read, net, apply, commit with the position."""
