"""Track any object in live video with SAM 2: types, models, engine, annotation, commands."""
