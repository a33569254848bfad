"""What both front ends decide alike, without sockets, threads, tasks or clocks.

A front end tells these objects what has happened, and they say what is to be done: which request may start its handler
(`Admission`), when the handlers of a connection's beginning and end run and when the connection closes (`Lifecycle`),
and which connections a server has and when it has stopped (`Roster`). A front end with threads holds a lock around each
call.
"""
