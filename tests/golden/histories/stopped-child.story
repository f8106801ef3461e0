exit code 0
decision 1   at the start
  line 3      calls child-0("x")
  line 3      calls child-1("y")
  line 3      waits for child-0
  line 3      waits for child-1
decision 2   2026-01-01 12:00:01   after event 3
  child-0 was cancelled: ChildStopped
  the code failed with TaskCancelled: child-0 was cancelled: ChildStopped
