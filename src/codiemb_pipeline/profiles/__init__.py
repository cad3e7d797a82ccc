"""Complete settings for known encoders (conf/profiles), and the command that puts one into params.yaml."""
