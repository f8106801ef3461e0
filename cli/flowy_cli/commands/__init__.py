"""What can be typed: names, options, help. What a command does is beside this folder, and imported when it runs."""
