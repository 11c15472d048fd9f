"""Where pixels come from: cameras, clips, pictures, synthetic roads."""
