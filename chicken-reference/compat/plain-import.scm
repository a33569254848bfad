;;;; Makes CHICKEN 4's import libraries plain: `csi -q -s compat/plain-import.scm FILE ...`
;;;
;;; CHICKEN 4 begins an import library with an `import` of everything that the module itself imported, for the sake of
;;; macros that it may export. Our public modules export none, and the modules beneath them are not installed.

(use extras utils)

(for-each
  (lambda (file)
    (let ((forms (read-file file)))
      (with-output-to-file file
        (lambda ()
          (for-each (lambda (form) (unless (eq? 'eval (car form)) (pp form))) forms)))))
  (command-line-arguments))
