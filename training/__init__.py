"""What trains the weights that Platoon ships: pictures drawn, models, training, export."""
