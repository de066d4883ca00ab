"""What a prediction is and how good it is: models, audio, metrics. Knows no Ray, Beam or MLflow."""
