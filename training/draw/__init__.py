"""Draws licence plates and what cameras make of them: the pictures that Platoon's plate models learn from."""
