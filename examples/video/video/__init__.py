"""The steps of the video example: one program, a subcommand a step, the standard library and ffmpeg."""
