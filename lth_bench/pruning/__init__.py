"""Masks and their consequences: allocation over layers, channels, parametrisations, tickets, the doctor."""
