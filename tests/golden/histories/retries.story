exit code 0
decision 1   at the start
  line 3      calls a-0(1)
  line 3      calls a-1(2)
  line 3      waits for a-0
  line 3      waits for a-1
decision 2   2026-01-01 12:00:12   after event 12
  a-0 completed: ["a", 1]
  a-1 completed: ["a", 2]
  line 3      calls b-0(["a",1], ["a",2])
  line 3      waits for b-0
decision 3   2026-01-01 12:00:13   after event 14
  b-0: attempt 1 failed: Error: no (exit code 3), final
  the code failed with Error: no
