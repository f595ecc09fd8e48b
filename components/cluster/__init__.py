"""Talking to a cluster: submit, schedule, doctor."""
