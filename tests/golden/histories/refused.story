exit code 0
decision 1   at the start
  line 8      calls a-0(1)
  line 8      waits for a-0
decision 2   2026-01-01 12:00:05   after event 2
  a-0: attempt 1 failed: Error: no (exit code 1), final
  line 10     calls b-0("clean-up")
  line 10     waits for b-0
decision 3   2026-01-01 12:00:05   after event 4
  b-0: attempt 1 failed: LaunchRefused: a fault of the test's, final
  the code failed with LaunchRefused: a fault of the test's
