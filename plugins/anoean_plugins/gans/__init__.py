"""What AnoGAN, EGBAD and ALAD share: networks, the loop, what each plays for."""
