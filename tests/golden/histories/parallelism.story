exit code 0
decision 1   at the start
  line 3      calls a-0(1)
  line 3      calls a-1(2)   (not yet on record)
  line 3      waits for a-0
  line 3      waits for a-1
decision 2   2026-01-01 12:00:01   after event 2
  a-0 completed: ["a", 1]
  line 3      waits for a-1
decision 3   2026-01-01 12:00:02   after event 4
  a-1 completed: ["a", 2]
  line 3      calls b-0(["a",1], ["a",2])
  line 3      waits for b-0
decision 4   2026-01-01 12:00:03   after event 6
  b-0 completed: ["b", ["a", 1], ["a", 2]]
  the code returned ["b", ["a", 1], ["a", 2]]
